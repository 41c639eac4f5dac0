-- Named statements of a verification: `-- name: x` starts statement x. Placeholders are psycopg's.

-- name: find_book
SELECT book_id FROM orderledger.books WHERE name = %(book)s

-- name: records
SELECT key_hash, key, command_id, appended_at, fingerprint, command, refused, reply
FROM (
    (SELECT * FROM orderledger.commands
     WHERE book_id = %(book_id)s AND key_hash > %(after)s ORDER BY key_hash LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM orderledger.commands_archive
     WHERE book_id = %(book_id)s AND key_hash > %(after)s ORDER BY key_hash LIMIT %(limit)s)
) AS both_tables
ORDER BY key_hash LIMIT %(limit)s

-- name: first_records
SELECT key_hash, key, command_id, appended_at, fingerprint, command, refused, reply
FROM (
    (SELECT * FROM orderledger.commands
     WHERE book_id = %(book_id)s ORDER BY key_hash LIMIT %(limit)s)
    UNION ALL
    (SELECT * FROM orderledger.commands_archive
     WHERE book_id = %(book_id)s ORDER BY key_hash LIMIT %(limit)s)
) AS both_tables
ORDER BY key_hash LIMIT %(limit)s

-- name: duplicates
-- The first two from an index; the third sorts, in the database's own temporary space.
(SELECT 'events', 'event_id', event_id, count(*) FROM orderledger.events
 GROUP BY event_id HAVING count(*) > 1)
UNION ALL
(SELECT 'log', 'event_id', event_id, count(*) FROM orderledger.log
 GROUP BY event_id HAVING count(*) > 1)
UNION ALL
(SELECT 'commands', 'command_id', command_id, count(*) FROM (
    SELECT command_id FROM orderledger.commands
    UNION ALL SELECT command_id FROM orderledger.commands_archive
 ) AS both_tables GROUP BY command_id HAVING count(*) > 1)
LIMIT 100

-- name: tables_of_books
SELECT c.relname::text FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'book_id' AND NOT a.attisdropped
WHERE c.relnamespace = 'orderledger'::regnamespace AND c.relkind = 'r' AND c.relname <> 'books'
ORDER BY 1

-- name: loose_work
SELECT w.number FROM orderledger.work w
WHERE w.book_id = %(book_id)s
    AND ARRAY(
        SELECT s.stream FROM orderledger.work_streams s
        WHERE s.number = w.number AND s.book_id = w.book_id AND s.lane = w.lane ORDER BY 1
    ) <> CASE w.status WHEN 'waiting'
        THEN ARRAY(SELECT u.stream COLLATE "C" FROM unnest(w.streams) AS u (stream) ORDER BY 1)
        ELSE '{}' END
ORDER BY w.number LIMIT 100

-- name: guards
-- What a catalogue has of our schema, in forms that do not differ between versions of the server.
SELECT 'function:' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
    concat_ws(E'\x1f', p.prosrc, l.lanname, p.prosecdef::text, p.provolatile::text,
        p.proisstrict::text, array_to_string(p.proconfig, ' '),
        pg_get_function_result(p.oid))
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'orderledger'::regnamespace
UNION ALL
SELECT 'trigger:' || c.relname || '.' || t.tgname,
    t.tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'orderledger'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'rule:' || c.relname || '.' || r.rulename, pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
WHERE c.relnamespace = 'orderledger'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT 'constraint:' || c.relname || '.' || k.conname,
    k.convalidated::text || ' ' || pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = 'orderledger'::regnamespace AND k.contype IN ('c', 'p', 'u', 'f')
UNION ALL
SELECT 'index:' || c.relname, i.indisvalid::text || ' ' || pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'orderledger'::regnamespace AND i.indisunique
UNION ALL
SELECT 'column:' || c.relname || '.' || a.attname,
    format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
        || coalesce(' COLLATE ' || l.collname, '')
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE c.relnamespace = 'orderledger'::regnamespace AND c.relkind = 'r'
    AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'schema_migrations'
UNION ALL
SELECT 'table:' || c.relname, c.relpersistence::text || c.relrowsecurity::text
FROM pg_class c
WHERE c.relnamespace = 'orderledger'::regnamespace AND c.relkind = 'r'
