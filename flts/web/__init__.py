"""Code that both HTTP servers share: middleware, limits, error answers, and starting and draining a server."""
