"""The demo's trainer (BAGEL-Canvas/, goes to the hosts) and what makes its model folder (stays here)."""
