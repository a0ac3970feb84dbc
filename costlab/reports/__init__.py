"""Reports as text, Markdown, HTML, JSON and CSV; `tables` and `header` select what a profile's report shows."""
