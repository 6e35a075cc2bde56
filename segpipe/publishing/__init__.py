"""Publishing validated predictions: outcomes, receipts and destinations."""
