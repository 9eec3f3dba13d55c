package gmailtest

import "google.golang.org/api/gmail/v1"

// listThreads is users.threads.list: the threads of what messages.list would list.
func (c *call) listThreads() (any, *apiError) {
	ms, e := c.search()
	if e != nil {
		return nil, e
	}
	var first []*mail // the newest of each
	seen := map[string]bool{}
	for _, m := range ms {
		if !seen[m.thread] {
			seen[m.thread] = true
			first = append(first, m)
		}
	}
	page, next, e := c.page(first)
	if e != nil {
		return nil, e
	}
	out := &gmail.ListThreadsResponse{ResultSizeEstimate: estimate(len(first)), NextPageToken: next}
	for _, m := range page {
		out.Threads = append(out.Threads, &gmail.Thread{Id: m.thread, HistoryId: m.historyID, Snippet: m.snippet()})
	}
	return out, nil
}

// pathThread returns the messages of the thread that the path names, oldest first.
func (c *call) pathThread() ([]*mail, *apiError) {
	var ms []*mail
	for i := len(c.user.order) - 1; i >= 0; i-- {
		if m := c.user.order[i]; m.thread == c.r.PathValue("id") {
			ms = append(ms, m)
		}
	}
	if ms == nil {
		return nil, notFound()
	}
	return ms, nil
}

// getThread is users.threads.get.
func (c *call) getThread() (any, *apiError) {
	ms, e := c.pathThread()
	if e != nil {
		return nil, e
	}
	format := c.query.Get("format")
	if format == "raw" { // G-disc: its formats are three
		return nil, invalid("Invalid value at 'format'")
	}
	out := &gmail.Thread{Id: ms[0].thread}
	for _, m := range ms {
		w, e := c.view(m, format)
		if e != nil {
			return nil, e
		}
		out.Messages = append(out.Messages, w)
		out.HistoryId = max(out.HistoryId, m.historyID)
	}
	return out, nil
}

// modifyThread is users.threads.modify. Facts 1.5: it "affects the whole thread (existing messages only)".
func (c *call) modifyThread() (any, *apiError) {
	ms, e := c.pathThread()
	if e != nil {
		return nil, e
	}
	var in gmail.ModifyThreadRequest
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.user.changeable(in.AddLabelIds, in.RemoveLabelIds); e != nil {
		return nil, e
	}
	out := &gmail.Thread{Id: ms[0].thread}
	for _, m := range ms {
		c.user.relabel(m, in.AddLabelIds, in.RemoveLabelIds)
		out.Messages = append(out.Messages, brief(m))
	}
	return out, nil
}
