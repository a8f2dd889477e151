"""Measurements: this server, its peers and the kernel's limit in one run. See README.md."""
