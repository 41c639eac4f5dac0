-- The refused commands apart: an audit reads all of them, and they are few among all commands.

CREATE INDEX orderledger_commands_refused ON orderledger_commands (book_id, key_hash)
WHERE refused = 1;
