"""routes.yaml: text -> tree with places -> structs, what is wrong with it, and what a new one changes."""
