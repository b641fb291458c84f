"""`cdp preview` and `cdp explain`: how many, who in kind, and why this one."""
