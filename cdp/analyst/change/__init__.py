"""`cdp diff`, `cdp fmt` and `cdp new`: what a change to the YAML does."""
