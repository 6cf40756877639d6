"""Running controllers: caches, queues, leader election, events. Knows none of our kinds."""
