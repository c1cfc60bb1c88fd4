"""avalanche-lib's strategies behind our evaluator: ``avalanche:Replay(mem_size=500) + avalanche:EWCPlugin(...)``."""
