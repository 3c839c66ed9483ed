"""End-to-end tests: a real skerryd, the installed `skerry` command, real sandboxes."""
