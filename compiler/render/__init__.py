"""How findings, plans and differences look. Values in, text out; the only rooms that know colours and widths."""
