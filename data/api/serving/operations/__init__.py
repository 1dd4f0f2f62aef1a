"""How the door does: health, readiness, metrics, and its logs."""
