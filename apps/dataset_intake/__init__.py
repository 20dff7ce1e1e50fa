"""Take a data set in: check, copy, clean, profile, ask, publish. See README.md."""
