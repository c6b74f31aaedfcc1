"""Train a network on handwritten digits.

NeuralNetwork is from "How to create a neural network with PyTorch", section 6, Net from "Neural Network", Network and
Network2 from "Building neural networks with PyTorch".

Examples:
  KERASNETS_DATA=path/to/data python experiments/mnist.py
  python experiments/mnist.py --network Network2 --backend jax
  python experiments/mnist.py --network Net --epochs 1 --log-every 50
"""

from kerasnets import cli

NETWORKS = ("NeuralNetwork", "Network", "Network2", "Net")

main = cli.make_training_command(NETWORKS, "out/mnist", default="NeuralNetwork", dataset="mnist")

if __name__ == "__main__":
    cli.run(main, __doc__)
