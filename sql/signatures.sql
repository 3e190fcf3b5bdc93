--
-- Signed deltas: what is signed, who has to sign, and which attempts are refused
--
SET client_min_messages = warning;
CREATE SCHEMA signature_test;
SET search_path = signature_test, public;

CREATE TABLE note (id int PRIMARY KEY, title text);
SELECT sync_enable_table('note', options => '{"name": "note"}');
\set ann '\'aaaaaaaa-0000-4000-8000-000000000001\''
\set bob '\'aaaaaaaa-0000-4000-8000-000000000002\''

-- Ed25519 keys with the seeds 0101... and 0202..., and what they make of the deltas below;
-- test/t/013_sign.pl makes keys and signatures of its own.
CREATE TABLE public_key (name text, key bytea);
INSERT INTO public_key VALUES
    ('one', '\x8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c'),
    ('two', '\x8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394');
CREATE TABLE signature (seq int, key text, signature text);
INSERT INTO signature VALUES
    (1, 'one', 'dcb3d8254ff761bba4f01589f441765b366d923986db002e362affec6bcc2b01b043893212531e81b1e2af16a9e48be1288c4f61c17a61ec0f63dd67113bcd02'),
    (1, 'two', 'f1729612d38d6ad1eca7539e3fbfc1ff13487d37f2663bb709e1141011be6a314a391b4e09d7133caae863d62f14c7d1fb2fac13085f72e988a1885c418c660e'),
    (2, 'one', '4d6390b21724e66172859f93f9bcda2f7fdca0f1974b10309d40f3f79d66f650749d718789a1538277fb0d7c7aec530a5d55a9f027ef43f62029408457c7f707'),
    (2, 'two', '499c0051b5583038701d82276f8b527be9ca5c5b89be49435c4278658f03f0492c9275ce380bb1dc8cba6d4531411cc15dbdbf077e713fd6093de67fd683b906'),
    (3, 'one', '17ad6c413d7c7c9f735c90ef74c695fba693b30320915cae18ac9c6350efae2e94029bd2d5f98cfc5ee968937b37a6d7c0efba584aa1681ed35dbe0c753fd702'),
    (3, 'two', '2927c91ec0b4eca7be40e024c4a62d5f3524dbfa3861721a32998e8cdd181dff0f3b54e88d054c4a493b34d042ebf06a094442bf1683b1ba1a661bda7132560e'),
    (4, 'one', '8b23211652a71e08129c2812648ffc54cfc9cdbe2da4b8d8222af377ac136f0a009b23bbe693f7f193b2566cc3bdd7c5f6989e18c584e8237c7299fb40860a07'),
    (4, 'two', '9f6afdfd6db48c8d17dca78f45ba8e7de22426edf5a19478b300f0f512f6ddd9e9ec72425ad245f054b8e9e24c60f16bf732a66c069e03c7bacbfc93fe222105'),
    (5, 'one', 'de43c769270ffc23fb46f478463d783f188427391a2894530ff6dbb6fe2c0f51eb3eee8294b2437519efa26033ecc001d3a0decbfd8b9e4caf8e67450ee99d05'),
    (5, 'two', '545e00b631ae098b0d43aea25512b33355754b453deb0f3856006457c0d8737f24101ebf092769a5c937fbfc5b947e7ad054093a876f378307ba75e95f02ec09'),
    (6, 'one', '6ebb2aaaa363e49d1923c9a19cb139d2c794250f30408de7998029cd881c6c588b0381c27eb3d6161e73acc1abc426757068cb98f030b34cc84b85a78efa8903'),
    (6, 'two', '9da42bde66b0fb00b72122dcac4711f213f1e67e4e0d49efd0d828103be78b5631a7523bf2f7bac64e15e865d976451a588c151e9e3769c4683aa010d6d5b100'),
    (0, 'one', 'c9832c46106caa734698eb20586c7edf1499d517d8758d280a308d486a76bffb7f0319c0519d0c52e91e97843610fa29484f1db1321f35cd3078e41afd321909');

-- a delta with one change, or none for seq 0
CREATE FUNCTION delta_text(seq int, title text DEFAULT NULL, device text DEFAULT 'aaaaaaaa-0000-4000-8000-000000000001')
RETURNS text LANGUAGE sql AS $$
SELECT format('{"format":1,"replica":"%s","context":{},"changes":[%s]}', device,
    CASE WHEN seq > 0 THEN
        format('{"seq":%s,"hlc":"2026-11-20T10:00:00.000Z/0","table":"note","key":{"id":%s},"insert":{"title":"%s"}}',
               seq, seq, coalesce(title, 'note ' || seq)) END)
$$;
CREATE FUNCTION sealed(delta text, signature text, checksum text DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
SELECT regexp_replace(delta, '}$', coalesce(',"checksum":"' || checksum || '"', '')
                                || coalesce(',"signature":"ed25519:' || signature || '"', '') || '}')
$$;
CREATE FUNCTION signed(seq int, key text) RETURNS text LANGUAGE sql AS $$
SELECT sealed(delta_text(seq), signature) FROM signature s WHERE s.seq = signed.seq AND s.key = signed.key
$$;
CREATE FUNCTION push(delta text, OUT status text, OUT acked bigint, OUT reason text, OUT sqlstate text, OUT told boolean)
LANGUAGE sql VOLATILE AS $$
SELECT r.status, r.acked_seq, r.outcomes #>> '{0,reason}', r.outcomes #>> '{0,sqlstate}', r.corrections IS NOT NULL
FROM sync_apply_delta(delta::delta) r
$$;
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- what is signed: one text for all spellings of a delta
SELECT convert_from(sync_canonical_bytes(delta_text(1)::delta), 'UTF8');
SELECT convert_from(sync_canonical_bytes('{ "changes" : [ {"hlc": "2026-11-20T10:00:00Z/3",
    "set": {"z": 1.50, "größe": "\u00e9\n", "json": {"b" : [1, 2], "a": null}}, "key": {"b": 2, "a": "1"}, "table": "note", "seq": 7} ],
    "signature": "ed25519:00", "schema_version": 3, "context": {"BBBBBBBB-0000-4000-8000-000000000001": "3,4"},
    "replica": "AAAAAAAA-0000-4000-8000-000000000001", "checksum": "crc32c:00000000", "format": 1 }'::delta), 'UTF8');

-- keys
SELECT sync_register_device(:ann, public_key => key) FROM public_key WHERE name = 'one';
SELECT sync_register_device(:bob);
SELECT raised(format('SELECT sync_require_signature(%L)', :bob));
SELECT raised(format('SELECT sync_require_signature(%L, NULL)', :ann));
SELECT raised('SELECT sync_require_signature(NULL)');
SELECT raised(format('SELECT sync_require_signature(%L)', '00000000-0000-0000-0000-000000000001'));
SELECT raised(format('SELECT sync_rotate_key(%L, %L)', :bob, '\x00'::bytea));
SELECT raised(format('SELECT sync_rotate_key(%L, NULL)', :bob));
SELECT raised(format('SELECT sync_rotate_key(%L, %L, NULL)', :bob, key)) FROM public_key WHERE name = 'one';
SELECT raised(format('SELECT sync_rotate_key(%L, %L, %L)', :bob, key, '-1 day')) FROM public_key WHERE name = 'one';
SELECT raised(format('SELECT sync_rotate_key(%L, %L)', '00000000-0000-0000-0000-000000000001', key)) FROM public_key WHERE name = 'one';
SELECT sync_rotate_key(:bob, key) FROM public_key WHERE name = 'one';
SELECT sync_require_signature(:ann);

-- stripped, also of a delta that has no change
SELECT * FROM push(delta_text(1));
SELECT * FROM push(delta_text(0));
-- forged: another value, another table, another seq, another context, another signature, bytes too few or too many
SELECT * FROM push(replace(signed(1, 'one'), 'note 1', 'note !'));
SELECT * FROM push(replace(signed(1, 'one'), '"table":"note"', '"table":"mote"'));
SELECT * FROM push(replace(signed(1, 'one'), '"seq":1', '"seq":2'));
SELECT * FROM push(replace(signed(1, 'one'), '"context":{}', '"context":{"bbbbbbbb-0000-4000-8000-000000000001":9}'));
SELECT * FROM push(regexp_replace(signed(1, 'one'), '0(?=[^0]*$)', '1'));
SELECT * FROM push(signed(1, 'two'));
SELECT p.* FROM signature s, push(sealed(delta_text(1), substr(signature, 1, 126))) p WHERE s.seq = 1 AND key = 'one';
SELECT p.* FROM signature s, push(sealed(delta_text(1), signature || '00')) p WHERE s.seq = 1 AND key = 'one';
SELECT p.* FROM signature s, push(sealed(delta_text(1), translate(signature, '0', 'g'))) p WHERE s.seq = 1 AND key = 'one';
SELECT p.* FROM signature s, push(sealed(delta_text(1), translate(encode(decode(signature, 'hex'), 'base64'), E'\n=', '')||'=')) p WHERE s.seq = 1 AND key = 'one';
SELECT count(*) AS notes FROM note;

-- accepted, whatever the spelling of delta and signature
SELECT * FROM push(regexp_replace(signed(0, 'one'), ',', E' ,\n'));
SELECT p.* FROM signature s, push(sealed(replace(delta_text(1), 'note 1', '\u006eote\u00201'), upper(signature))) p WHERE s.seq = 1 AND key = 'one';
-- replayed: nothing happens; forged, it is not answered
SELECT * FROM push(signed(1, 'one'));
SELECT p.* FROM signature s, push(sealed(delta_text(1), replace(encode(decode(signature, 'hex'), 'base64'), E'\n', ''))) p WHERE s.seq = 1 AND key = 'one';
SELECT p.* FROM signature s, push(sealed(delta_text(1), translate(encode(decode(signature, 'hex'), 'base64'), E'+/=\n', '-_'))) p WHERE s.seq = 1 AND key = 'one';
SELECT * FROM push(signed(1, 'two'));
SELECT * FROM push(delta_text(1));
-- as another device's, which has the same key
SELECT * FROM push(replace(signed(1, 'one'), :ann, :bob));
-- nobody asked for it, but it is wrong; none at all is right
SELECT p.* FROM signature s, push(sealed(delta_text(1, 'of bob', :bob), signature)) p WHERE s.seq = 2 AND key = 'one';
SELECT * FROM push(delta_text(1, 'of bob', :bob));

-- rotation: both keys, then the new one alone
SELECT sync_rotate_key(:ann, key) FROM public_key WHERE name = 'two';
SELECT * FROM push(signed(2, 'one'));
SELECT * FROM push(signed(3, 'two'));
UPDATE offline_sync.device SET previous_key_until = now() - interval '1 s' WHERE device = :ann;
SELECT * FROM push(signed(4, 'one'));
SELECT * FROM push(signed(4, 'two'));
-- the same rotation again does not bring the old key back
SELECT sync_rotate_key(:ann, key) FROM public_key WHERE name = 'two';
SELECT * FROM push(signed(5, 'one'));
-- repeated in time it ends an overlap, and does not lengthen it
SELECT sync_rotate_key(:ann, key, '1 h') FROM public_key WHERE name = 'one';
SELECT sync_rotate_key(:ann, key, '1 y') FROM public_key WHERE name = 'one';
SELECT previous_key = (SELECT key FROM public_key WHERE name = 'two') AS is_kept,
       previous_key_until < now() + interval '2 h' AS for_an_hour FROM offline_sync.device WHERE device = :ann;
SELECT sync_rotate_key(:ann, key, '0') FROM public_key WHERE name = 'one';
SELECT * FROM push(signed(5, 'two'));
SELECT * FROM push(signed(5, 'one'));
-- registered again, with another key: at once
SELECT sync_rotate_key(:ann, key) FROM public_key WHERE name = 'two';
SELECT sync_register_device(:ann, public_key => key) FROM public_key WHERE name = 'two';
SELECT previous_key IS NULL AS no_other_key, require_signature FROM offline_sync.device WHERE device = :ann;
SELECT * FROM push(signed(6, 'one'));
-- no longer required
SELECT sync_require_signature(:ann, false);
SELECT * FROM push(delta_text(6));
-- a device without a key need not be able to sign
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000003');
SELECT * FROM push(sealed(delta_text(1, 'cid', 'aaaaaaaa-0000-4000-8000-000000000003'), '00'));

-- checksums
SELECT * FROM push(sealed(delta_text(2, 'of bob', :bob), NULL, 'crc32c:00000000'));
SELECT * FROM push(sealed(delta_text(2, 'of bob', :bob), NULL, delta_checksum(delta_text(2, 'to bob', :bob)::delta)));
SELECT * FROM push(sealed(delta_text(2, 'of bob', :bob), NULL, delta_checksum(delta_text(2, 'of bob', :bob)::delta)));

-- revoked: a good signature does not help
SELECT sync_revoke_device(:ann);
SELECT * FROM push(signed(6, 'two'));
SELECT raised(format('SELECT sync_rotate_key(%L, %L)', :ann, key)) FROM public_key WHERE name = 'one';
SELECT raised(format('SELECT sync_require_signature(%L)', :ann));

-- forgotten: no key is left of a rotation
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000004', public_key => key) FROM public_key WHERE name = 'one';
SELECT sync_rotate_key('aaaaaaaa-0000-4000-8000-000000000004', key) FROM public_key WHERE name = 'two';
SELECT sync_forget_device('aaaaaaaa-0000-4000-8000-000000000004');
SELECT num_nonnulls(public_key, previous_key, previous_key_until) AS keys_left FROM offline_sync.device
WHERE device = 'aaaaaaaa-0000-4000-8000-000000000004';

-- all of this is in the audit: each reason once in a minute, the rest is counted
SELECT device, reason, count(*) FROM sync_audit WHERE outcome = 'rejected' GROUP BY device, reason ORDER BY device, reason COLLATE "C";
SELECT device, reason, repeated FROM offline_sync.refusal ORDER BY device, reason;

-- not for everybody
CREATE ROLE signature_stranger;
GRANT USAGE ON SCHEMA signature_test TO signature_stranger;
SET ROLE signature_stranger;
SELECT raised(format('SELECT sync_rotate_key(%L, %L)', :bob, '\x00'::bytea));
SELECT raised(format('SELECT sync_require_signature(%L, false)', :bob));
SELECT raised(format('SELECT * FROM sync_apply_delta(%L)', delta_text(3, 'x', :bob)));
RESET ROLE;
DROP SCHEMA signature_test CASCADE;
DROP ROLE signature_stranger;
