// Keeps the totals in a database and shows them: GET /totals.
#include <nlohmann/json.hpp>

#include <green/group.hpp>
#include <green/log.hpp>
#include <green/thread_pool.hpp>
#include <green/workers/worker.hpp>

#include "totals.hpp"
#include "wordcount.capnp.h"

namespace {

constexpr std::size_t most_at_once = 64;  // totals in one transaction

/// Stores what is there, in one go, before any of it is acknowledged.
void keep(green::ipc::Queue<Total>& queue, green::ThreadPool& database_thread, Totals& totals) {
    while (auto first = queue.next()) {  // nothing when the worker drains
        std::vector<green::ipc::Lease<Total>> leases;
        leases.push_back(std::move(*first));
        while (leases.size() < most_at_once) {
            auto more = queue.next(green::Deadline::passed());
            if (!more) break;
            leases.push_back(std::move(*more));
        }
        std::vector<NamedTotal> batch;
        for (const auto& lease : leases) {
            batch.push_back({std::string{green::ipc::view(lease->getName())}, lease->getLines(),
                             lease->getWords(), lease->getBytes()});
        }
        database_thread.apply([&totals, batch] { totals.store(batch); });
        for (auto& lease : leases) lease.ack();
    }
}

std::string as_json(const std::vector<NamedTotal>& totals) {
    auto document = nlohmann::json::object();
    for (const NamedTotal& total : totals) {
        document[total.name] = {
            {"lines", total.lines}, {"words", total.words}, {"bytes", total.bytes}};
    }
    return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

int main(int argc, char** argv) {
    green::workers::Worker worker{argc, argv};
    auto queue = worker.queue<Total>("totals");
    green::ThreadPool database_thread{1};  // SQLite blocks, and one connection is for one thread
    Totals totals = database_thread.apply([&] { return Totals{worker.run_dir() + "/totals.db"}; });

    green::HttpServer web{
        worker.socket("report"),
        [&](const green::HttpRequest& request, green::HttpResponse& response) {
            if (request.path() == "/totals") {
                response.json(as_json(database_thread.apply([&] { return totals.all(); })));
            } else if (request.path() == "/") {
                response.text("wordcount report: GET /totals\n");
            } else {
                response.status(404);
            }
        }};
    auto keeper = green::spawn([&] { keep(queue, database_thread, totals); });
    const int status = worker.serve(web);
    keeper.get();
    return status;
}
