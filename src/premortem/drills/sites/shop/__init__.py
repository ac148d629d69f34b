"""A shop: browse, look, put in the basket, check out."""
