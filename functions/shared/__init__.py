"""What the steps share: the contracts (model, errors), the stores (lock, manifest) and the edges (clients, step)."""
