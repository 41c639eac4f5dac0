-- Read models: which events a generation leaves out by acknowledgement, and since when it is built.
--
-- A generation is made from the log and from this list, whoever goes on with it and whenever: the
-- list is that of the model's skips when the generation began, and never changes.
ALTER TABLE orderledger_generations ADD COLUMN skipped TEXT NOT NULL DEFAULT '[]';
ALTER TABLE orderledger_generations ADD COLUMN owned_since TEXT NOT NULL DEFAULT '';
