"""The synthetic experiment of the paper (Sharma et al. 2024, arXiv 2402.12366, Section 5 and Figure 6)."""
