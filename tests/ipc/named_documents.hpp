#pragma once
// What the cases of named queues put and get: documents that are told by their names.

#include <string>

#include <catch2/catch.hpp>

#include <green/ipc/queue.hpp>

#include "document.capnp.h"

namespace tests {

inline std::string name_of(const green::ipc::Lease<Document>& lease) {
    return std::string{green::ipc::view(lease->getName())};
}

inline void put(green::ipc::Queue<Document>& queue, const std::string& name,
                const std::string& body = {}) {
    const bool done = queue.put(
        [&](Document::Builder document) {
            document.setName(green::ipc::text(name));
            document.setBody(green::ipc::bytes(body));
        },
        name.size() + body.size());
    REQUIRE(done);
}

}  // namespace tests
