"""Predicts streets, publishes the predictions through segpipe, and says what to label next."""
