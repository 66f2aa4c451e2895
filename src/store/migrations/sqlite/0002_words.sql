-- The words of the transcripts, for the search over them. A transcript is put in through the view, whatever language
-- it is in: no stemming, accents count.
CREATE TABLE searchable (
	doc INTEGER PRIMARY KEY,
	job_id TEXT NOT NULL UNIQUE REFERENCES jobs (id) ON DELETE CASCADE
) STRICT;
CREATE VIRTUAL TABLE transcript_words USING fts5 (text, tokenize = 'unicode61 remove_diacritics 0');
CREATE TRIGGER searchable_gone AFTER DELETE ON searchable BEGIN
	DELETE FROM transcript_words WHERE rowid = old.doc;
END;
CREATE VIEW transcript_search (job_id, text) AS SELECT job_id, NULL FROM searchable;
CREATE TRIGGER transcript_search_put INSTEAD OF INSERT ON transcript_search BEGIN
	DELETE FROM searchable WHERE job_id = new.job_id;
	INSERT INTO searchable (job_id) VALUES (new.job_id);
	INSERT INTO transcript_words (rowid, text) SELECT doc, new.text FROM searchable WHERE job_id = new.job_id;
END;
INSERT INTO transcript_search (job_id, text)
	SELECT transcripts.job_id, coalesce((SELECT group_concat(json_extract(segment.value, '$.text'), ' ')
	FROM json_each(transcripts.body, '$.segments') AS segment), '') FROM transcripts;
