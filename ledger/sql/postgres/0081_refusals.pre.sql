-- The refused commands apart: an audit reads all of them, and they are few among all commands.

CREATE INDEX commands_refused ON orderledger.commands (book_id, key_hash) WHERE refused;
CREATE INDEX commands_archive_refused ON orderledger.commands_archive (book_id, key_hash)
WHERE refused;
