import trio, time, json, pytest
from pathlib import Path
from claude_openai.testing import *
from tests.real.harness import *
CASES={
 "401":AUTHENTICATION_ERROR,"403":PERMISSION_ERROR,"429-7":RATE_LIMIT_ERROR.with_headers(retry_after="7"),
 "429":HttpError(429,"rate_limit_error","x"),"400":HttpError(400,"invalid_request_error","bad thing"),"toolong":PROMPT_TOO_LONG,
 "404":HttpError(404,"not_found_error","model: foo"),"413":REQUEST_TOO_LARGE,"500":API_ERROR,"529":OVERLOADED_ERROR,
 "billing":HttpError(400,"billing_error","Your credit balance is too low to access the Anthropic API."),
 "mid":Reply(Text("a","b",UpstreamErrorEvent())),
 "cut":Reply(Text("a","b",Cut())), "cutr":Reply(Text("a","b",Cut(reset=True))),
 "garb":Reply(Text("a","b",Garbage(b"data: {nonsense\n\n"),"c")),
 "garb2":Reply(Text("a","b",Garbage(b"\x00\xff\n\nevent: foo\ndata: 7\n\n"),"c")),
 "maxtok":Reply("long",stop_reason="max_tokens"),
 "refusal":Reply("no",stop_reason="refusal"),
 "empty":Reply(),
 "cut0":Reply("x",before_headers=[Cut()]),
}
@pytest.mark.parametrize("name",CASES)
async def test_x(name,tmp_path):
    async with serving(tmp_path,CASES[name]) as s:
        for stream in (False,True):
            t=time.time(); n0=len(s.api.requests)
            async with Call.open(s.url,chat("Hi",stream=stream)) as c:
                st=await c.status()
                b=await c.body()
                print(name,stream,st,c.headers.get("retry-after"),c.headers.get("x-should-retry"),"calls",len(s.api.requests)-n0,"%.2f"%(time.time()-t)); print("   ",b.decode()[-700:])
