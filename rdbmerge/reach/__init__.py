"""How servers are reached: addresses, sockets, TLS, tunnels, discovery. Knows nothing of what is said over them."""
