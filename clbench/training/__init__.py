"""The training loop and what it works with: learner, batches, replay buffer, class masks, optimisers."""
