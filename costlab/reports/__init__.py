"""What a profile looks like: `tables` and `header` choose what to show, one module a format shows it."""
