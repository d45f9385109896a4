"""Where did an answer change? Few boots instead of one per kernel, and the evidence with the answer."""
