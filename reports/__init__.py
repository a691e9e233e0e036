"""Who is told, and how: HTML, Markdown and machine formats, from the record alone."""
