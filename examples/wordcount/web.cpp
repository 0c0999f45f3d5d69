// Takes texts by HTTP and puts them into a queue: POST /texts/NAME answers 202 when the text is in
// it.
#include <green/workers/worker.hpp>

#include "wordcount.capnp.h"

namespace {

constexpr std::string_view texts_path = "/texts/";

void refuse(green::HttpResponse& response, int status, std::string why) {
    response.status(status);
    response.text(std::move(why) + "\n");
}

void accept_text(green::ipc::Queue<Document>& texts, const green::HttpRequest& request,
                 green::HttpResponse& response) {
    const auto name = green::percent_decoded(request.path().substr(texts_path.size()));
    if (!name || name->empty()) return refuse(response, 400, "POST /texts/NAME needs a name");
    if (name->find('\0') != std::string::npos)
        return refuse(response, 400, "a name cannot hold a zero byte");
    if (request.body().size() > texts.raw().max_message() / 2)
        return refuse(response, 413, "this text is too long");

    auto message =
        texts.prepare(name->size() + request.body().size());  // waits while the queue is full
    message->setName(green::ipc::text(*name));  // built in place, in the queue's memory
    message->setBody(green::ipc::bytes(request.body()));
    message.put();
    response.status(202);
}

}  // namespace

int main(int argc, char** argv) {
    green::workers::Worker worker{argc, argv};
    auto texts = worker.queue<Document>("texts");
    green::HttpServer web{worker.socket("web"),
                          [&](const green::HttpRequest& request, green::HttpResponse& response) {
                              if (request.path().starts_with(texts_path)) {
                                  if (request.method() != "POST")
                                      return refuse(response, 405, "texts are posted");
                                  return accept_text(texts, request, response);
                              }
                              if (request.path() != "/")
                                  return refuse(response, 404, "there are / and POST /texts/NAME");
                              response.text("wordcount: POST /texts/NAME, then ask the report\n");
                          }};
    return worker.serve(web);
}
