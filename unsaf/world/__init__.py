"""The embedded testbed: drawn scenes, their grammar and oracle, and tiny models of them."""
