BEGIN TRANSACTION;
CREATE TABLE attempts (
        request TEXT NOT NULL, number INTEGER NOT NULL,
        time REAL NOT NULL,                 -- as the chat's
        backend TEXT NOT NULL, model TEXT NOT NULL,
        outcome TEXT NOT NULL,
        failure TEXT NOT NULL, message TEXT NOT NULL,
        standing TEXT NOT NULL,             -- what it says of the backend: good, bad, or nothing
        ttft_s REAL, total_s REAL NOT NULL,
        usage TEXT,                         -- a JSON object
        prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        PRIMARY KEY (request, number)
    );
INSERT INTO "attempts" VALUES('answered',1,1795000000.0,'small','qwen','failed','empty','no text','bad',NULL,1.0,NULL,0,0,0);
INSERT INTO "attempts" VALUES('answered',2,1795000000.0,'large','gpt','ok','','','bad',0.25,2.0,'{"prompt_tokens":300,"completion_tokens":10,"cached_tokens":100,"reasoning_tokens":4}',300,10,700);
CREATE TABLE decisions (
        request TEXT PRIMARY KEY,
        time REAL NOT NULL,                 -- seconds since 1970, at its end
        client TEXT NOT NULL, session TEXT NOT NULL, task TEXT NOT NULL,
        context TEXT NOT NULL,              -- a JSON object
        asked TEXT NOT NULL,                -- the model as the request named it
        named TEXT NOT NULL, route TEXT NOT NULL, endpoint TEXT NOT NULL, priority TEXT NOT NULL,
        tier TEXT NOT NULL,                 -- simple, complex, or nothing where complexity did not matter
        variant TEXT NOT NULL,              -- a or b, where the endpoint compares two limits
        score REAL,                         -- the one that it was chosen by
        scores TEXT NOT NULL,               -- a JSON object
        first TEXT NOT NULL,                -- the first candidate
        candidates TEXT NOT NULL, skipped TEXT NOT NULL,  -- JSON lists
        measures TEXT NOT NULL,             -- a JSON object: what of the request other routes may look at
        outcome TEXT NOT NULL,              -- ok, failed, cancelled
        backend TEXT NOT NULL, model TEXT NOT NULL,       -- who answered
        finish TEXT NOT NULL,
        code TEXT NOT NULL, message TEXT NOT NULL,        -- of the error it ended with
        flaw TEXT NOT NULL, flaw_message TEXT NOT NULL,
        usage TEXT NOT NULL,                -- a JSON object
        prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        cost INTEGER NOT NULL,              -- millionths of a dollar
        ttft_s REAL, total_s REAL NOT NULL,
        hops INTEGER NOT NULL
    );
INSERT INTO "decisions" VALUES('answered',1795000000.0,'hermes','s1','plan','{"platform":"discord","task":"plan"}','auto','request','plans','auto','interactive','simple','b',2.5,'{"rules":2.5}','small','[{"backend":"small","reasons":["complexity 2.50","loaded"],"wait_s":0.5},{"backend":"large","reasons":["stronger"],"wait_s":0.0}]','[{"backend":"gpt","reason":"it takes no tools","failure":"context_overflow"}]','{"chars":13,"prompt_bytes":22,"local_only":true,"minute":615,"weekday":4}','ok','large','gpt','length','','','refusal','it declines','{"prompt_tokens":300,"completion_tokens":10,"cached_tokens":100,"reasoning_tokens":4}',300,10,700,0.5,3.5,2);
INSERT INTO "decisions" VALUES('failed',1795000001.0,'','','','{}','nobody','','','','','','',NULL,'{}','','[]','[]','{"chars":5,"prompt_bytes":5}','failed','','','','not_found','there is no endpoint or backend ''nobody''','','','{}',0,0,0,NULL,0.001,0);
CREATE TABLE feedback (
        id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))),
        request TEXT NOT NULL, time REAL NOT NULL,
        score REAL NOT NULL,                -- 0 bad .. 1 good
        note TEXT NOT NULL
    );
INSERT INTO "feedback" VALUES('f6c29410909aae51','answered',1795000060.0,0.25,'too short');
CREATE TABLE measured (key TEXT PRIMARY KEY, time REAL NOT NULL, value TEXT NOT NULL);
INSERT INTO "measured" VALUES('a model',1795000000.0,'{"weights":1000,"peak":2000,"load_s":3.5}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('stats_since','1794999990.0');
CREATE TABLE quota_use (
        id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))),
        backend TEXT NOT NULL, time REAL NOT NULL,
        tokens INTEGER NOT NULL, requests INTEGER NOT NULL, cost INTEGER NOT NULL
    );
INSERT INTO "quota_use" VALUES('ade1ceaa49577fec','large',1795000000.0,310,1,700);
CREATE TABLE shadows (
        request TEXT PRIMARY KEY, time REAL NOT NULL,
        shadow TEXT NOT NULL,               -- the other chat's id
        endpoint TEXT NOT NULL, backend TEXT NOT NULL, other TEXT NOT NULL,
        score REAL,                         -- complexity of the ask
        agreement REAL NOT NULL,            -- of both answers, 0 .. 1
        quality REAL, other_quality REAL    -- as judged, 0 .. 1
    );
INSERT INTO "shadows" VALUES('answered',1795000001.0,'other','auto','large','small',2.5,0.75,1.0,0.5);
CREATE TABLE spend (
        reservation TEXT PRIMARY KEY,
        request TEXT NOT NULL, attempt INTEGER NOT NULL,
        time REAL NOT NULL,                 -- seconds since 1970, of the reservation
        backend TEXT NOT NULL, model TEXT NOT NULL, route TEXT NOT NULL, client TEXT NOT NULL,
        reserved INTEGER NOT NULL,          -- millionths of a dollar, as all money here
        settled INTEGER,                    -- null while open
        state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'released'))
    );
INSERT INTO "spend" VALUES('r1','answered',2,1795000000.0,'large','gpt','plans','hermes',900,700,'settled');
INSERT INTO "spend" VALUES('r2','',0,1795000000.0,'','','','',900,NULL,'open');
CREATE TABLE texts (request TEXT PRIMARY KEY, time REAL NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL);
INSERT INTO "texts" VALUES('answered',1795000000.0,'Plan the week','I cannot.');
CREATE INDEX decisions_time ON decisions (time);
CREATE INDEX decisions_tier ON decisions (time, tier, score, outcome, backend, first) WHERE tier != '';
CREATE INDEX attempts_time ON attempts (time);
CREATE INDEX texts_time ON texts (time);
CREATE INDEX feedback_request ON feedback (request);
CREATE INDEX feedback_time ON feedback (time);
CREATE INDEX spend_time ON spend (time);
CREATE INDEX spend_open ON spend (state) WHERE state = 'open';
CREATE INDEX quota_use_backend ON quota_use (backend, time);
CREATE INDEX shadows_time ON shadows (time);
CREATE INDEX shadows_shadow ON shadows (shadow);
COMMIT;
PRAGMA user_version = 2;
