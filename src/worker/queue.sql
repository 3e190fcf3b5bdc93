-- ---------------------------------------------------------------------------
-- The queue: deltas that are stored now and applied later
-- ---------------------------------------------------------------------------
-- Rows that are not answered yet change only under the lock on the device's row.
CREATE TABLE offline_sync.queue (
    id              uuid        NOT NULL CONSTRAINT queue_pkey PRIMARY KEY, -- ascends with time
    device          uuid        NOT NULL,
    first_seq       bigint      NOT NULL,         -- 0: the delta has no changes
    last_seq        bigint      NOT NULL,
    delta           delta,                        -- NULL: applied, so the journal has it
    role            text        NOT NULL,         -- who submitted it, by name
    submitted_at    timestamptz NOT NULL,
    state           text        NOT NULL,         -- 'pending' | 'quarantined' | 'answered'
    attempts        int         NOT NULL DEFAULT 0, -- that failed
    tried_at        timestamptz,                  -- when the latest one did
    last_sqlstate   text,
    last_error      text,
    -- the answer, as of sync_apply_delta
    answered_at     timestamptz,
    reconciliation  uuid,                         -- NULL: not in the journal
    status          text,
    acked_seq       bigint,
    applied         int,
    merged          int,
    superseded      int,
    rejected        int,
    deferred        int,
    conflicts       int,
    outcomes        jsonb,
    corrections     delta,
    hlc             hlc
);
CREATE INDEX queue_device ON offline_sync.queue (device, first_seq, id) WHERE state <> 'answered';
CREATE INDEX queue_pending ON offline_sync.queue (submitted_at, id) WHERE state = 'pending';
CREATE INDEX queue_answered ON offline_sync.queue (answered_at) WHERE state = 'answered';
COMMENT ON TABLE offline_sync.queue IS 'submitted deltas, and the answers to them: see the view sync_queue';
SELECT pg_catalog.pg_extension_config_dump('offline_sync.queue', '');

CREATE FUNCTION sync_submit_delta(delta delta) RETURNS uuid
AS 'MODULE_PATHNAME', 'sync_submit_delta'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_submit_delta(delta) IS
'store a device''s changes now, to be merged by sync_process_queue; returns what sync_submission takes';

CREATE FUNCTION sync_submission(submission uuid,
    OUT reconciliation uuid, OUT status text, OUT acked_seq bigint,
    OUT applied int, OUT merged int, OUT superseded int, OUT rejected int,
    OUT deferred int, OUT conflicts int, OUT outcomes jsonb,
    OUT corrections delta, OUT hlc hlc)
RETURNS record
AS 'MODULE_PATHNAME', 'sync_submission'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION sync_submission(uuid) IS
'the answer to a submitted delta, as of sync_apply_delta; its status is ''pending'' until the delta was processed';

CREATE FUNCTION sync_process_queue(max_deltas int DEFAULT 100,
    OUT processed bigint, OUT failed bigint, OUT waiting bigint)
AS 'MODULE_PATHNAME', 'sync_process_queue'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_process_queue(int) IS
'merge submitted deltas, with the rights of those who submitted them; for schedulers, several at once';
REVOKE EXECUTE ON FUNCTION sync_process_queue(int) FROM PUBLIC;

CREATE FUNCTION sync_release_quarantine(submission uuid, drop boolean DEFAULT false) RETURNS void
AS 'MODULE_PATHNAME', 'sync_release_quarantine'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_release_quarantine(uuid, boolean) IS
'have a quarantined delta tried again; or drop it, which answers it as rejected';
REVOKE EXECUTE ON FUNCTION sync_release_quarantine(uuid, boolean) FROM PUBLIC;

CREATE VIEW sync_queue WITH (security_barrier) AS
SELECT q.id AS submission, q.device, q.first_seq, q.last_seq, q.role, q.submitted_at,
       q.state, q.attempts, q.tried_at, q.last_sqlstate, q.last_error, q.answered_at, q.status
FROM offline_sync.queue q
JOIN offline_sync.visible_device d ON d.device = q.device;
COMMENT ON VIEW sync_queue IS 'submitted deltas: which wait, which are quarantined and why, which were answered';
GRANT SELECT ON sync_queue TO PUBLIC;
