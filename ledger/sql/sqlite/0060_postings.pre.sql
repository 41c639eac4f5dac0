-- The balances are a read model like the others: their rows stand in tables of its generations, made
-- from the events when the balances are next asked for or followed. What was here was derived too.
DROP VIEW orderledger_postings;
DROP TABLE orderledger_journal_lines;
DROP TABLE orderledger_projection_checkpoints;
