"""Many roads that differ in one thing, what they have in common made once, and a verdict: did the feedback help?"""
