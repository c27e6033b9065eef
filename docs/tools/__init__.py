"""What builds the site from the Markdown files of the repository: `make docs`."""
