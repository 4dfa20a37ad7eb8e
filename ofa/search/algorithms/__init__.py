"""Search algorithms as ask and tell, and what they are built from; `registry` names them."""
