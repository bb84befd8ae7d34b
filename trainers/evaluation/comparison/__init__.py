"""How two models differ on the same examples."""
