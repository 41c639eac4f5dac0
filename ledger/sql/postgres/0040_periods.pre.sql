-- Accounting periods: until when the books are closed. Entries are held to it as they are held to the
-- constrained accounts: appends name the generation under which they were decided, and closing and
-- reopening raise it. Between begin_constrain (0004) and end_constrain nobody appends.
ALTER TABLE orderledger.books ADD COLUMN closed_until timestamptz;

-- Sets the instant until which the books are closed (NULL: nothing is closed) and raises the
-- generation; the caller's transaction began with begin_constrain and still has the lock. Of the name
-- of its twin for accounts: roles that may call that one may call this one.
CREATE FUNCTION orderledger.end_constrain(p_book integer, p_closed_until timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE orderledger.heads IN EXCLUSIVE MODE;
    UPDATE orderledger.books
    SET closed_until = p_closed_until, constraint_generation = constraint_generation + 1
    WHERE book_id = p_book;
END
$$;
REVOKE EXECUTE ON FUNCTION orderledger.end_constrain(integer, timestamptz) FROM PUBLIC;
