"""Does it cost anything when 16 writers all post to one seller and one platform account?"""

from bench.databases import durability, event_count, postgres_book, server
from bench.fleet import execute_for_sellers, fleet
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Ratio,
    Settings,
    benchmark_name,
    interleave,
    main,
)

WRITERS = 16
SELLERS = 10_000


def run(settings: Settings) -> Answer:
    """Measure 16 processes on one seller against the same spread over 10,000 sellers."""
    writers = settings.sized(WRITERS, 2)
    hot = ["hot"]
    spread = [f"s{number}" for number in range(SELLERS)]
    with (
        server() as databases,
        databases.fresh_database() as one,
        databases.fresh_database() as many,
        postgres_book(one),
        postgres_book(many),
    ):
        shares = [spread[number::writers] for number in range(writers)]
        with (
            fleet(execute_for_sellers, [(one, hot)] * writers) as on_one,
            fleet(execute_for_sellers, [(many, share) for share in shares]) as on_many,
        ):
            arms = [
                Arm(f"{writers} writers, one seller", "commands/s", on_one.rate),
                Arm(f"{writers} writers, {SELLERS:,} sellers", "commands/s", on_many.rate),
            ]
            found = interleave(arms, settings)
        facts: Facts = {
            "writers": writers,
            "events on one seller": event_count(one),
            "events on many": event_count(many),
            **durability(one),
        }
    return Answer(found, [Ratio("one seller / spread", 0, 1, target=0.95)], facts)


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
