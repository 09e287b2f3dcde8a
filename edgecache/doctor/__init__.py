"""What a live origin is like, found out by asking it. Rule of this package: a bounded number of
requests in a bounded time, none that changes anything unless told to write, and no secret in what
comes out.
"""
