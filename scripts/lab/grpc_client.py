"""A gRPC client of the lab, as a process of its own: ADDRESS HOST TRUST. Exit 0: every call has come out as it should."""

import sys

import grpc


def main(address, host, trust):
    """The blocked method, between others on the same channel."""
    with open(trust, "rb") as roots:
        credentials = grpc.ssl_channel_credentials(roots.read())
    with grpc.secure_channel(f"{address}:443", credentials, [("grpc.ssl_target_name_override", host)]) as channel:
        say, secret = channel.unary_unary("/lab.Echo/Say"), channel.unary_unary("/lab.Echo/Secret")
        chat = channel.stream_stream("/lab.Echo/Chat")
        for turn in range(3):
            words = b"hello %d" % turn
            if say(words, timeout=5) != words:
                return "Say came back changed"
            try:
                return f"Secret was answered: {secret(words, timeout=5)!r}"
            except grpc.RpcError as refused:
                if refused.code() != grpc.StatusCode.PERMISSION_DENIED:
                    return f"Secret: {refused.code()} {refused.details()}"
                details = refused.details()
            sent = [b"%d" % number for number in range(50)]
            if list(chat(iter(sent), timeout=5)) != sent:
                return "Chat came back changed"
    print(f"PERMISSION_DENIED: {details}")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
