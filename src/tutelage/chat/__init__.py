"""Talking to models: over an API (`HttpClient`) or whatever else is a `Client`. Knows HTTP, never torch.

endpoint = Endpoint(provider="openai", model="my-model", base_url="http://localhost:8000/v1")
client = HttpClient(endpoint, "replies.jsonl")
replies = ask(client, [ChatRequest(messages=prompt.messages) for prompt in prompts])
"""

from tutelage.chat.ask import ask, ask_all, ask_each
from tutelage.chat.batch import BatchClient
from tutelage.chat.endpoint import Endpoint
from tutelage.chat.http import HttpClient
from tutelage.chat.ledger import Budget
from tutelage.chat.protocol import ChatFailure, ChatReply, ChatRequest, Client
from tutelage.chat.replies import AskAgain

__all__ = [
    "AskAgain",
    "BatchClient",
    "Budget",
    "ChatFailure",
    "ChatReply",
    "ChatRequest",
    "Client",
    "Endpoint",
    "HttpClient",
    "ask",
    "ask_all",
    "ask_each",
]
