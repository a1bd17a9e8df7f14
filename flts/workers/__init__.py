"""The stages as long-running workers, joined by Kafka topics: the only place that imports Kafka."""
