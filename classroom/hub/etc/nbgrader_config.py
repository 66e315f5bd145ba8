"""Where assignments are handed out and in, for all users of a hub on one server."""

c = get_config()  # noqa: F821
c.Exchange.root = "/srv/slicewise/exchange"
