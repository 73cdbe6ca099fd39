"""What the middlewares share: which requests pass, which wait for the after-restore hooks, and which run them."""
