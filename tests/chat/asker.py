"""A process that asks a server, to be killed by tests: asker.py URL JOURNAL NUM CONCURRENCY [FIRST]."""

import sys

from tutelage.chat import ChatRequest, Endpoint, HttpClient, ask
from tutelage.records import Message


def main() -> None:
    url, journal, num, concurrency = sys.argv[1:5]
    start = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    endpoint = Endpoint(
        provider="openai", model="stub", base_url=url, max_concurrency=int(concurrency), timeout_seconds=30
    )
    requests = [
        ChatRequest(messages=(Message(role="user", content=f"question {i}"),)) for i in range(start, start + int(num))
    ]
    try:
        replies = ask(HttpClient(endpoint, journal), requests)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
    print(sum(getattr(r, "text", "") == f"you said: question {start + i}" for i, r in enumerate(replies)))


if __name__ == "__main__":
    main()
