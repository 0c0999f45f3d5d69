// Takes texts from one queue, counts, and puts the totals into another.
#include <green/workers/worker.hpp>

#include "count.hpp"
#include "wordcount.capnp.h"

int main(int argc, char** argv) {
    green::workers::Worker worker{argc, argv};
    auto texts = worker.queue<Document>("texts");
    auto totals = worker.queue<Total>("totals");
    for (auto text : texts) {  // ends when the worker drains
        const Count counted = count(green::ipc::view(text->getBody()));  // read in place
        auto total = totals.prepare(text->getName().size());
        total->setName(text->getName());
        total->setLines(counted.lines);
        total->setWords(counted.words);
        total->setBytes(counted.bytes);
        total.put();
        // Dying before this line gives the text to another counter, whose total is the same under
        // the same name.
        text.ack();
    }
}
